"""Models as they travel: cards, catalogues, signatures, and fetching them."""
