"""The renderer: images of pastures, animals and camera damage, with exact labels."""
