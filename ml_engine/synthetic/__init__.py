"""The renderer: pastures, animals and camera damage, as pictures with truth."""
