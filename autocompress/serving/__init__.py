"""An exported folder, a stranger's if need be: checked, loaded, asked, measured again. Knows no search."""
