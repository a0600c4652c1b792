module meterfabric.io/tests/cluster/helper

go 1.26.0
