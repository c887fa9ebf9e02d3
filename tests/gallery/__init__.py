"""Every kind of card, made by the product's own code and looked at in a real browser as a phone shows it."""
