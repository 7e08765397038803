package main

import (
	"fmt"
	"os"
	"time"
)

// logf writes a line as K3s does: time, level, message.
func logf(level, format string, values ...any) {
	fmt.Fprintf(os.Stderr, "time=%q level=%s msg=%q\n", time.Now().UTC().Format(time.RFC3339), level, fmt.Sprintf(format, values...))
}

// fatal ends the process as a K3s that cannot start does.
func fatal(format string, values ...any) {
	logf("fatal", format, values...)
	os.Exit(1)
}
