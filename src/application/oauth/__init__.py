"""OAuth 2.1 and OpenID Connect: applications ask for tokens, and people say who may have them."""
