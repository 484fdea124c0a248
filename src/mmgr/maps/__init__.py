"""What a person looks at: figures, georeferenced grids, and the report."""
