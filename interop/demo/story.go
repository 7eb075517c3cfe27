package main

import (
	"fmt"
	"os"
	"time"

	"golang.org/x/term"
)

// patience is how long a step may take to be seen.
const patience = 10 * time.Second

// story prints steps and counts them.
type story struct {
	steps, sightings int
	began            time.Time
	acted            time.Time
	slowest          time.Duration
	slowestWhat      string
}

// scene is a part of the story, which is told once those before it have been.
type scene func(*story) error

// play tells scenes until one goes wrong.
func (s *story) play(scenes ...scene) error {
	for _, next := range scenes {
		if err := next(s); err != nil {
			return err
		}
	}
	return nil
}

// act is one step: somebody does something.
func act(who, program, what string, do func() error) scene {
	return func(s *story) error {
		if s.began.IsZero() {
			s.began = time.Now()
		}
		s.steps++
		fmt.Printf("\n%s %s %s %s\n", bold(fmt.Sprintf("%2d.", s.steps)), bold(who), what, dim("("+program+")"))
		s.acted = time.Now()
		if err := do(); err != nil {
			return fmt.Errorf("%s, %s %s: %w", who, program, what, err)
		}
		return nil
	}
}

// sees is what somebody else sees of the last act; look returns it in the
// words of the program that saw it.
func sees(who, program, what string, look func() (string, error)) scene {
	return func(s *story) error {
		saw, err := look()
		took := time.Since(s.acted)
		if err != nil {
			return fmt.Errorf("step %d: %s should see %s: %w", s.steps, who, what, err)
		}
		s.sightings++
		if took > s.slowest {
			s.slowest, s.slowestWhat = took, fmt.Sprintf("step %d, %s", s.steps, what)
		}
		fmt.Printf("    → %s sees %s: %s %s\n", who, what, green(saw), dim(fmt.Sprintf("%d ms, %s", took.Milliseconds(), program)))
		return nil
	}
}

// quiet is what nobody needs to be told of.
func quiet(do func() error) scene { return func(*story) error { return do() } }

func (s *story) summary() {
	fmt.Printf("\n%s %d steps, %d things seen, nothing missing, in %.1f s. Slowest: %s, %d ms.\n\n",
		green("✓"), s.steps, s.sightings, time.Since(s.began).Seconds(), s.slowestWhat, s.slowest.Milliseconds())
}

var colours = term.IsTerminal(int(os.Stdout.Fd())) && os.Getenv("NO_COLOR") == ""

func paint(code, s string) string {
	if !colours {
		return s
	}
	return "\x1b[" + code + "m" + s + "\x1b[m"
}

func bold(s string) string  { return paint("1", s) }
func dim(s string) string   { return paint("2", s) }
func green(s string) string { return paint("32", s) }
func red(s string) string   { return paint("31", s) }
