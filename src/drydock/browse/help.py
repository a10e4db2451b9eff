"""The words of the view: its keys, and what its columns and letters mean."""

from __future__ import annotations

from typing import Final

KEYS: Final = (
    "Enter down  Bksp up  Space mark  e why  f where  / filter  s sort  v verify\n"
    "x export  p plan  a apply  u undo  Esc stop  ? help  q quit"
)
"""Two lines of 80 columns."""

HELP: Final = (
    "Up, Down, PgUp, PgDn, Home, End  move the cursor (also k and j, g and G)",
    "Enter, Right  go down: show what is in it",
    "Backspace, Left  go up",
    "Space  mark it, or take the mark back; what may not go says why",
    "!  mark an image or a container although it would be lost, after Space has said so",
    "e  why it is there: what holds it, as drydock explain says it",
    "f  what it was found by, and where on disk it is",
    "/  show only what has a word in its name, here and below; Esc ends that",
    "s  sort by size, unique, name, state, count",
    "v  verify the place, as drydock verify does",
    "x  export an image, a container's files or a volume to a file",
    "p  write the plan of what is marked to a file, for drydock apply",
    "a  show the plan, and apply it as drydock clean --apply does: it asks first",
    "u  list past runs; Enter undoes one, as drydock undo does",
    "Esc  stop what is under way",
    "q, Ctrl-C  quit; nothing was changed that a plan or an undo did not change",
    "",
    "SIZE is everything that it has or reaches. UNIQUE is the part that nothing else reaches.",
    "The bar: its first part is unique, the paler part is shared with others.",
    "A layer of two images is below both. A group or a store has each byte once.",
    "",
    "* marked   + goes with what is marked",
    "L live: something that does not go by itself holds it",
    "E leased: only leases hold it, such as one of an interrupted pull",
    "U unreachable: it has a record, and nothing holds it",
    "O orphaned: it is on disk, and no record names it",
    "M missing: it has a record, and its data is not there",
    "C corrupt: its data has the wrong size or digest",
    "F foreign: drydock does not know what it is, and never removes it",
)
"""Lines of the help."""
