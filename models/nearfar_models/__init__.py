"""Encoders for ``nearfar --start-from nearfar:NAME``; nearfar reads the files and runs nothing."""
