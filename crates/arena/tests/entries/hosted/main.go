// People of the rinha in the event's words: Go's standard library, and Redis.
package main

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"
	"unicode/utf8"
)

// Person as it is given and shown; what is a pointer may be missing.
type Person struct {
	ID         string   `json:"id"`
	Apelido    *string  `json:"apelido"`
	Nome       *string  `json:"nome"`
	Nascimento *string  `json:"nascimento"`
	Stack      []string `json:"stack"`
}

type found struct{ text, shown string }

// People are in Redis; for searches they are in memory as well.
type People struct {
	redis *Redis
	lock  sync.RWMutex
	all   []found
}

// status that a person deserves.
func (person *Person) status() int {
	if person.Apelido == nil || person.Nome == nil || person.Nascimento == nil {
		return http.StatusUnprocessableEntity
	}
	isLong := utf8.RuneCountInString(*person.Apelido) > 32 || utf8.RuneCountInString(*person.Nome) > 100
	for _, name := range person.Stack {
		isLong = isLong || utf8.RuneCountInString(name) > 32
	}
	if isLong || (person.Stack != nil && len(person.Stack) == 0) {
		return http.StatusUnprocessableEntity
	}
	if _, err := time.Parse(time.DateOnly, *person.Nascimento); err != nil {
		return http.StatusBadRequest
	}
	return http.StatusCreated
}

func (people *People) create(response http.ResponseWriter, request *http.Request) {
	body, _ := io.ReadAll(request.Body)
	var person Person
	// A null in a list would be taken for an empty name.
	var raw struct{ Stack []*string }
	if json.Unmarshal(body, &person) != nil || json.Unmarshal(body, &raw) != nil {
		response.WriteHeader(http.StatusBadRequest)
		return
	}
	for _, name := range raw.Stack {
		if name == nil {
			response.WriteHeader(http.StatusBadRequest)
			return
		}
	}
	if status := person.status(); status != http.StatusCreated {
		response.WriteHeader(status)
		return
	}
	person.ID = uuid()
	isNew, err := people.redis.Do("HSETNX", "nicknames", *person.Apelido, person.ID)
	if err == nil && isNew == "0" {
		response.WriteHeader(http.StatusUnprocessableEntity)
		return
	}
	shown, _ := json.Marshal(person)
	if err == nil {
		_, err = people.redis.Do("HSET", "people", person.ID, string(shown))
	}
	if err != nil {
		http.Error(response, err.Error(), http.StatusInternalServerError)
		return
	}
	text := strings.ToLower(strings.Join(append([]string{*person.Apelido, *person.Nome}, person.Stack...), "\n"))
	people.lock.Lock()
	people.all = append(people.all, found{text, string(shown)})
	people.lock.Unlock()
	response.Header().Set("Location", "/pessoas/"+person.ID)
	response.WriteHeader(http.StatusCreated)
}

func (people *People) fetch(response http.ResponseWriter, request *http.Request) {
	shown, err := people.redis.Do("HGET", "people", request.PathValue("id"))
	if err != nil || shown == "" {
		response.WriteHeader(http.StatusNotFound)
		return
	}
	io.WriteString(response, shown)
}

func (people *People) search(response http.ResponseWriter, request *http.Request) {
	term := strings.ToLower(request.URL.Query().Get("t"))
	if term == "" {
		response.WriteHeader(http.StatusBadRequest)
		return
	}
	people.lock.RLock()
	all := people.all
	people.lock.RUnlock()
	var shown []string
	for _, person := range all {
		if len(shown) < 50 && strings.Contains(person.text, term) {
			shown = append(shown, person.shown)
		}
	}
	fmt.Fprintf(response, "[%s]", strings.Join(shown, ","))
}

func (people *People) count(response http.ResponseWriter, _ *http.Request) {
	count, err := people.redis.Do("HLEN", "people")
	if err != nil {
		http.Error(response, err.Error(), http.StatusInternalServerError)
		return
	}
	io.WriteString(response, count)
}

func uuid() string {
	var bytes [16]byte
	rand.Read(bytes[:])
	bytes[6], bytes[8] = bytes[6]&0x0f|0x40, bytes[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", bytes[:4], bytes[4:6], bytes[6:8], bytes[8:10], bytes[10:])
}

func main() {
	people := &People{redis: Connect(os.Getenv("REDIS"), 32)}
	http.HandleFunc("POST /pessoas", people.create)
	http.HandleFunc("GET /pessoas", people.search)
	http.HandleFunc("GET /pessoas/{id}", people.fetch)
	http.HandleFunc("GET /contagem-pessoas", people.count)
	log.Fatal(http.ListenAndServe(os.Getenv("LISTEN"), nil))
}
