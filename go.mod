module pharos

go 1.26
