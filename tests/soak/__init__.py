"""A long run on real servers: constant change for as long as asked, and an outage with deletions that wait."""
