// A Go host: database/sql with mattn/go-sqlite3. Arguments: database, library. What it answers: tests/hosts/drivers.py.
package main

import (
	"bufio"
	"context"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"

	"github.com/mattn/go-sqlite3"
)

type request struct {
	On            string
	SQL           string
	Parameters    []any
	Interruptible bool
	Close         bool
	Threads       int
	Times         int
}

type host struct {
	pool        *sql.DB
	connections map[string]*sql.Conn
	lines       *bufio.Scanner
}

func main() {
	database, library := os.Args[1], os.Args[2]
	sql.Register("sqlite3_journal", &sqlite3.SQLiteDriver{Extensions: []string{library}})
	pool, err := sql.Open("sqlite3_journal", database)
	if err != nil {
		panic(err)
	}
	// A connection that is closed is closed, not kept for the next who asks.
	pool.SetMaxIdleConns(-1)
	h := host{pool, map[string]*sql.Conn{}, bufio.NewScanner(os.Stdin)}
	h.lines.Buffer(nil, 64<<20)
	answers := json.NewEncoder(os.Stdout)
	answers.SetEscapeHTML(false)
	for h.lines.Scan() {
		answers.Encode(h.answer(h.lines.Text()))
	}
}

func (h *host) answer(line string) map[string]any {
	rows, err := h.rows(line)
	if err != nil {
		answer := map[string]any{"error": err.Error()}
		var typed sqlite3.Error
		if errors.As(err, &typed) {
			answer["code"] = int(typed.ExtendedCode)
		}
		return answer
	}
	return map[string]any{"rows": rows}
}

func (h *host) rows(line string) ([][]any, error) {
	asked := request{}
	decoder := json.NewDecoder(strings.NewReader(line))
	decoder.UseNumber()
	if err := decoder.Decode(&asked); err != nil {
		return nil, err
	}
	for i, value := range asked.Parameters {
		asked.Parameters[i] = bound(value)
	}
	if asked.Threads > 0 {
		return h.trips(asked)
	}
	connection, open := h.connections[asked.On]
	if asked.Close {
		delete(h.connections, asked.On)
		return [][]any{}, connection.Close()
	}
	if !open {
		var err error
		if connection, err = h.pool.Conn(context.Background()); err != nil {
			return nil, err
		}
		h.connections[asked.On] = connection
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if asked.Interruptible {
		read := make(chan bool)
		go func() { h.lines.Scan(); cancel(); read <- true }()
		defer func() { <-read }()
	}
	return query(ctx, connection, asked.SQL, asked.Parameters)
}

func query(ctx context.Context, connection *sql.Conn, text string, parameters []any) ([][]any, error) {
	found, err := connection.QueryContext(ctx, text, parameters...)
	if err != nil {
		return nil, err
	}
	defer found.Close()
	names, err := found.Columns()
	rows := [][]any{}
	for found.Next() {
		row, places := make([]any, len(names)), make([]any, len(names))
		for i := range row {
			places[i] = &row[i]
		}
		if err := found.Scan(places...); err != nil {
			return nil, err
		}
		for i, value := range row {
			if blob, ok := value.([]byte); ok {
				row[i] = map[string]string{"blob": hex.EncodeToString(blob)}
			}
		}
		rows = append(rows, row)
	}
	return rows, errors.Join(err, found.Err())
}

// How many texts come back as they went, on a connection for each goroutine.
func (h *host) trips(asked request) ([][]any, error) {
	var all sync.WaitGroup
	right, failed := make([]int, asked.Threads), make([]error, asked.Threads)
	for thread := range asked.Threads {
		all.Add(1)
		go func() {
			defer all.Done()
			connection, err := h.pool.Conn(context.Background())
			if err != nil {
				failed[thread] = err
				return
			}
			defer connection.Close()
			for turn := range asked.Times {
				text := fmt.Sprintf("thread %d turn %d", thread, turn)
				rows, err := query(context.Background(), connection, asked.SQL, []any{text})
				if err != nil {
					failed[thread] = err
					return
				}
				if rows[0][0] == text {
					right[thread]++
				}
			}
		}()
	}
	all.Wait()
	sum := 0
	for _, count := range right {
		sum += count
	}
	return [][]any{{sum}}, errors.Join(failed...)
}

func bound(value any) any {
	switch value := value.(type) {
	case json.Number:
		if whole, err := value.Int64(); err == nil {
			return whole
		}
		real, _ := value.Float64()
		return real
	case map[string]any:
		blob, _ := hex.DecodeString(value["blob"].(string))
		return blob
	}
	return value
}
