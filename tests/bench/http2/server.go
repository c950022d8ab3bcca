// The API of app.py by Go's own HTTP/2: server ADDRESS CERTIFICATE KEY.
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"math/rand"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

type asked struct {
	Stream    bool `json:"stream"`
	MaxTokens int  `json:"max_tokens"`
}

var active atomic.Int64
var mutex sync.Mutex
var words = strings.Fields("the of to and a in is it you that he was for on are with as his they be at one have this from or had by hot but some what there we can out")

func text(n int) string {
	out := make([]string, n)
	for i := range out {
		out[i] = words[rand.Intn(len(words))]
	}
	return strings.Join(out, " ")
}

func main() {
	seed, _ := strconv.ParseInt(os.Getenv("API_SEED"), 10, 64)
	rand.Seed(seed)
	limit, err := strconv.ParseInt(os.Getenv("API_LIMIT"), 10, 64)
	if err != nil {
		limit = 1000
	}
	log, err := os.OpenFile(os.Getenv("API_LOG"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		panic(err)
	}
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		start, status := time.Now().UnixNano(), 200
		_, port, _ := net.SplitHostPort(r.RemoteAddr)
		body, _ := io.ReadAll(r.Body)
		var a asked
		json.Unmarshal(body, &a)
		now := active.Add(1)
		defer func() {
			active.Add(-1)
			mutex.Lock()
			fmt.Fprintf(log, "{\"port\": %s, \"start\": %d, \"end\": %d, \"status\": %d}\n", port, start, time.Now().UnixNano(), status)
			mutex.Unlock()
		}()
		if now > limit {
			status = 429
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(429)
			io.WriteString(w, `{"error":{"code":"1302","message":"High concurrency usage of this API, please reduce concurrency or contact customer service to increase limits"}}`)
			return
		}
		time.Sleep(time.Duration(1e9 * math.Exp(-1.4+0.7*rand.NormFloat64())))
		if !a.Stream {
			w.Header().Set("Content-Type", "application/json")
			json.NewEncoder(w).Encode(map[string]any{"id": "chatcmpl-1", "choices": []any{map[string]any{"message": map[string]string{"role": "assistant", "content": text(max(a.MaxTokens, 60))}}}})
			return
		}
		w.Header().Set("Content-Type", "text/event-stream")
		w.WriteHeader(200)
		id, pace := rand.Uint32(), 0.004+0.056*rand.Float64()
		for n := a.MaxTokens/2 + rand.Intn(a.MaxTokens/2+1); n > 0; n-- {
			piece, _ := json.Marshal(map[string]any{"id": fmt.Sprintf("chatcmpl-%08x", id), "object": "chat.completion.chunk", "created": 1700000000, "model": "glm-4.6",
				"choices": []any{map[string]any{"index": 0, "delta": map[string]string{"role": "assistant", "content": text(1 + rand.Intn(2))}, "finish_reason": nil}}})
			fmt.Fprintf(w, "data: %s\n\n", piece)
			w.(http.Flusher).Flush()
			select {
			case <-r.Context().Done():
				status = 499
				return
			case <-time.After(time.Duration(1e9 * pace * rand.ExpFloat64())):
			}
		}
		io.WriteString(w, "data: [DONE]\n\n")
	})
	panic(http.ListenAndServeTLS(os.Args[1], os.Args[2], os.Args[3], nil))
}
