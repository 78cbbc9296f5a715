package world

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"time"
)

// Proxy passes the operator's requests on to the simulator and remembers, for each project, what
// the newest list showed and when it was asked for, and when the last batch call ended.
type Proxy struct {
	URL    string
	server *httptest.Server

	mutex sync.Mutex
	seen  map[string]Seen
}

// Seen is what the operator can know of one project.
type Seen struct {
	// Running tasks and stopped ones in the newest list.
	Tasks map[string]bool
	// ListAsked is when that list was asked for, CallEnded when the last start or stop was
	// answered.
	ListAsked, CallEnded time.Time
}

func newProxy(simulator string) (*Proxy, error) {
	target, err := url.Parse(simulator)
	if err != nil {
		return nil, err
	}
	p := &Proxy{seen: map[string]Seen{}}
	pass := httputil.NewSingleHostReverseProxy(target)
	pass.ModifyResponse = p.record
	asked := func(w http.ResponseWriter, r *http.Request) {
		r.Header.Set("X-Asked", time.Now().Format(time.RFC3339Nano))
		pass.ServeHTTP(w, r)
	}
	p.server = httptest.NewServer(http.HandlerFunc(asked))
	p.URL = p.server.URL
	return p, nil
}

// Seen is what is known of a project now.
func (p *Proxy) Seen(project string) Seen {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	return p.seen[project]
}

func (p *Proxy) record(answer *http.Response) error {
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		return err
	}
	answer.Body = io.NopCloser(bytes.NewReader(body))
	parts := strings.Split(answer.Request.URL.Path, "/") // /v2/{project}/fdi/instances/{instance}/…
	if len(parts) < 3 {
		return nil
	}
	asked, err := time.Parse(time.RFC3339Nano, answer.Request.Header.Get("X-Asked"))
	if err != nil {
		return err
	}
	p.mutex.Lock()
	defer p.mutex.Unlock()
	seen := p.seen[parts[2]]
	switch {
	case answer.Request.Method == http.MethodPost:
		seen.CallEnded = time.Now()
	case answer.StatusCode == http.StatusOK && strings.HasSuffix(answer.Request.URL.Path, "/tasks"):
		var list struct {
			Tasks []struct {
				ID     string `json:"task_id"`
				Status int    `json:"status"`
			} `json:"entities"`
		}
		if err := json.Unmarshal(body, &list); err != nil {
			return err
		}
		seen.Tasks = map[string]bool{}
		for _, task := range list.Tasks {
			seen.Tasks[task.ID] = task.Status == 1
		}
		seen.ListAsked = asked
	}
	p.seen[parts[2]] = seen
	return nil
}
