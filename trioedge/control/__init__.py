"""Control planes: the programs that name an edge's services, and how their snapshots are read and reported to."""
