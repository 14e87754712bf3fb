"""The suite `hybrid`: `suite` assembles it from keys, capsules and the encryption of bodies."""
