"""Write the kept screens of browse anew: ``python -m tests.browse``. Look at them before you commit them."""

from tests.browse.screens import files

for path, text in files():
    path.write_text(text, encoding="utf-8")
