"""Proteins: structures, chains and residues as graphs, and the ontology of their terms."""
