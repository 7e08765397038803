// Command pack compresses standard input to standard output, always to the same bytes.
package main

import (
	"fmt"
	"io"
	"os"

	"github.com/klauspost/compress/zstd"
)

func main() {
	if err := pack(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func pack() error {
	// One goroutine: with several the blocks, and so the bytes, could differ.
	out, err := zstd.NewWriter(os.Stdout, zstd.WithEncoderLevel(zstd.SpeedBetterCompression), zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(8<<20))
	if err != nil {
		return err
	}
	if _, err := io.Copy(out, os.Stdin); err != nil {
		return err
	}
	return out.Close()
}
