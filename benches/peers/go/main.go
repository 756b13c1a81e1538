// The package github.com/fernet/fernet-go. See ../peers.py for what it reads and answers.
package main

import (
	"bufio"
	"fmt"
	"os"
	"strings"

	"github.com/fernet/fernet-go"
)

type row struct {
	keys        []*fernet.Key
	token, text []byte
}

func main() {
	content, err := os.ReadFile(os.Args[1])
	if err != nil {
		panic(err)
	}
	rows := []row{}
	for _, line := range strings.Split(strings.TrimSuffix(string(content), "\n"), "\n") {
		words := strings.Split(line, "\t")
		rows = append(rows, row{fernet.MustDecodeKeys(words[0]), []byte(words[1]), []byte(words[2])})
	}
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		var way string
		var times int
		fmt.Sscan(lines.Text(), &way, &times)
		for turn := range times {
			row := rows[turn%len(rows)]
			if way == "decrypt" {
				// 0: no greatest age.
				if fernet.VerifyAndDecrypt(row.token, 0, row.keys) == nil {
					panic("not decrypted")
				}
			} else if _, err := fernet.EncryptAndSign(row.text, row.keys[0]); err != nil {
				panic(err)
			}
		}
		fmt.Println()
	}
}
