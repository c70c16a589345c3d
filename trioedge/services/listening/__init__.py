"""Listeners that policies name: which service may have which, and the protocol by which an edge opens them."""
