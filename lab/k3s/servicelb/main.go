// Command servicelb is the lab's stand-in for klipper-lb: it takes what arrives on a port to a Service. K3s' own does it
// with two rules of iptables and keeps the sender's address; this one is a plain relay.
package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"
)

const idle = time.Minute

func main() {
	from, to := ":"+os.Getenv("SRC_PORT"), net.JoinHostPort(os.Getenv("DEST_IPS"), os.Getenv("DEST_PORT"))
	relay := relayTCP
	if os.Getenv("DEST_PROTO") == "UDP" {
		relay = relayUDP
	}
	fmt.Printf("lab K3s: %s %s goes to %s\n", os.Getenv("DEST_PROTO"), from, to)
	if err := relay(from, to); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func relayTCP(from, to string) error {
	listener, err := net.Listen("tcp", from)
	if err != nil {
		return err
	}
	for {
		near, err := listener.Accept()
		if err != nil {
			return err
		}
		go join(near.(*net.TCPConn), to)
	}
}

func join(near *net.TCPConn, to string) {
	defer near.Close()
	connection, err := net.DialTimeout("tcp", to, 10*time.Second)
	if err != nil {
		return
	}
	far := connection.(*net.TCPConn)
	defer far.Close()
	done := make(chan struct{})
	go func() { pour(far, near); close(done) }()
	pour(near, far)
	<-done
}

func pour(to, from *net.TCPConn) {
	_, _ = io.Copy(to, from)
	_ = to.CloseWrite()
}

func relayUDP(from, to string) error {
	near, err := net.ListenPacket("udp", from)
	if err != nil {
		return err
	}
	var mutex sync.Mutex
	known := map[string]net.Conn{}
	buffer := make([]byte, 1<<16)
	for {
		size, sender, err := near.ReadFrom(buffer)
		if err != nil {
			return err
		}
		mutex.Lock()
		far := known[sender.String()]
		if far == nil {
			if far, err = net.Dial("udp", to); err != nil {
				mutex.Unlock()
				return err
			}
			known[sender.String()] = far
			go func() {
				answer(near, sender, far)
				mutex.Lock()
				delete(known, sender.String())
				mutex.Unlock()
			}()
		}
		_ = far.SetReadDeadline(time.Now().Add(idle))
		mutex.Unlock()
		_, _ = far.Write(buffer[:size])
	}
}

func answer(near net.PacketConn, receiver net.Addr, far net.Conn) {
	defer far.Close()
	buffer := make([]byte, 1<<16)
	for {
		size, err := far.Read(buffer)
		if errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, net.ErrClosed) {
			return
		}
		if err == nil {
			_, _ = near.WriteTo(buffer[:size], receiver)
		}
	}
}
