"""nearfar's methods in other people's engines."""
