module hybridctl.dev/lab/tools

go 1.26.0
