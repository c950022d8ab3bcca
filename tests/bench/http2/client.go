// Asks an API as several workers of Go's net/http; standard input says what (see make.py).
package main

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"sync"
	"time"
)

type request struct {
	Body   string  `json:"body"`
	WaitMs float64 `json:"wait_ms"`
}

func main() {
	var spec struct {
		Url      string    `json:"url"`
		Workers  int       `json:"workers"`
		Requests []request `json:"requests"`
	}
	if err := json.NewDecoder(os.Stdin).Decode(&spec); err != nil {
		panic(err)
	}
	keys, err := os.OpenFile(os.Getenv("SSLKEYLOGFILE"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		panic(err)
	}
	secure := &tls.Config{InsecureSkipVerify: true, KeyLogWriter: keys}
	client := &http.Client{Transport: &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: secure}}
	todo := make(chan request, len(spec.Requests))
	for _, r := range spec.Requests {
		todo <- r
	}
	close(todo)
	var group sync.WaitGroup
	for w := 0; w < spec.Workers; w++ {
		group.Add(1)
		go func() {
			defer group.Done()
			for r := range todo {
				time.Sleep(time.Duration(r.WaitMs * 1e6))
				ask, _ := http.NewRequest("POST", spec.Url, bytes.NewReader([]byte(r.Body)))
				ask.Header.Set("Content-Type", "application/json")
				ask.Header.Set("Authorization", "Bearer sk-0123456789abcdef0123456789abcdef")
				answer, err := client.Do(ask)
				if err == nil {
					io.Copy(io.Discard, answer.Body)
					answer.Body.Close()
				}
			}
		}()
	}
	group.Wait()
}
