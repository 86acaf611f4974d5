package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"
)

// Redis is a pool of connections that speak as much of RESP 2 as is needed here.
type Redis struct {
	idle chan *connection
}

type connection struct {
	net.Conn
	reader *bufio.Reader
}

// Connect waits for the server: it may take its time to start.
func Connect(address string, size int) *Redis {
	redis := &Redis{idle: make(chan *connection, size)}
	for len(redis.idle) < size {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			time.Sleep(200 * time.Millisecond)
			continue
		}
		redis.idle <- &connection{conn, bufio.NewReader(conn)}
	}
	return redis
}

// Do sends a command and returns its answer; "" where there is nothing.
func (redis *Redis) Do(words ...string) (string, error) {
	conn := <-redis.idle
	defer func() { redis.idle <- conn }()
	var command strings.Builder
	fmt.Fprintf(&command, "*%d\r\n", len(words))
	for _, word := range words {
		fmt.Fprintf(&command, "$%d\r\n%s\r\n", len(word), word)
	}
	if _, err := io.WriteString(conn, command.String()); err != nil {
		return "", err
	}
	return conn.answer()
}

func (conn *connection) answer() (string, error) {
	line, err := conn.reader.ReadString('\n')
	if err != nil {
		return "", err
	}
	kind, rest := line[0], strings.TrimSpace(line[1:])
	switch kind {
	case '-':
		return "", fmt.Errorf("redis: %s", rest)
	case '$':
		length, err := strconv.Atoi(rest)
		if err != nil || length < 0 {
			return "", err
		}
		body := make([]byte, length+2)
		_, err = io.ReadFull(conn.reader, body)
		return string(body[:length]), err
	}
	return rest, nil
}
