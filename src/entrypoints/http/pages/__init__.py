"""Pages for people: sign-in, consent, their account. Rendered here, without scripts."""
