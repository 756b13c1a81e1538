// As frameworks.py, in Go: `frameworks LIBRARY DATABASE ROUNDS` prints microseconds a row in the clear and sealed, of database/sql.
package main

import (
	"database/sql"
	"fmt"
	"math"
	"os"
	"strconv"
	"time"

	"github.com/mattn/go-sqlite3"
)

const sealed = "journal_try_decrypt(user_id, key_uid, token, 'journal_entries.token:' || uid)"

func main() {
	sql.Register("journal", &sqlite3.SQLiteDriver{Extensions: []string{os.Args[1]}})
	db, err := sql.Open("journal", os.Args[2])
	must(err)
	rounds, err := strconv.Atoi(os.Args[3])
	must(err)
	least := []float64{math.Inf(1), math.Inf(1)}
	for range rounds {
		for index, column := range []string{"plain", sealed} {
			begun := time.Now()
			count := read(db, column)
			least[index] = min(least[index], float64(time.Since(begun).Nanoseconds())/1000/float64(count))
			if count != 1000 {
				panic("not what was written")
			}
		}
	}
	fmt.Println(least[0], least[1])
}

func read(db *sql.DB, column string) (count int) {
	rows, err := db.Query("SELECT id, "+column+" FROM journal_entries WHERE user_id = ?", 1)
	must(err)
	defer rows.Close()
	for rows.Next() {
		var id int64
		var text sql.NullString
		must(rows.Scan(&id, &text))
		if len(text.String) == 101 {
			count++
		}
	}
	must(rows.Err())
	return count
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}
