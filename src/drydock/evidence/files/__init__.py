"""Reading files, folders, sizes and extended attributes that containers wrote: nothing is followed, nothing changed."""
