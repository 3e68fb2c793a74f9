module fedid.io/testbed/pause

go 1.21
