"""Images for people: annotated frames and the contact sheet."""
