module hosted

go 1.24
