"""Loading, choosing and reading models; the only room that imports an interpreter."""
