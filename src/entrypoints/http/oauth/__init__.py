"""The endpoints of OAuth 2.1 and OpenID Connect, in the shapes that their RFCs demand."""
