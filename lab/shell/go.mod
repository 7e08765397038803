module lab.example/shell

go 1.24.0
