"""The grammar: sessions, stages, verdicts and chains. Pure."""
