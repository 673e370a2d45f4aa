"""What other parties of OAuth publish and send: keys of clients, and the assertions they sign with them."""
