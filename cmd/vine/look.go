package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/vine-mesh/vine/node/control"
)

// A look is a command that asks the running VR for a list and prints it.
type look[T any] struct {
	name    string // of the command, and of the list in the JSON document
	key     string // of the list in the JSON document, if it is not name
	aliases []string
	short   string
	long    string
	get     func(*control.Client, context.Context) ([]T, error)
	head    []string
	row     func(T) []string
	empty   string // said when there is nothing to list
}

func (l look[T]) command(e *Env) *cobra.Command {
	return &cobra.Command{
		Use:     l.name,
		Aliases: l.aliases,
		Short:   l.short,
		Long:    l.long,
		Example: "  vine " + l.name + "\n  vine " + l.name + " --json",
		Args:    takes(),
		RunE:    func(c *cobra.Command, _ []string) error { return l.print(e, c.Context()) },
	}
}

func (l look[T]) print(e *Env, ctx context.Context) error {
	c, err := e.client()
	if err != nil {
		return err
	}
	list, err := l.get(c, ctx)
	if err != nil {
		return err
	}
	if e.json {
		key := l.name
		if l.key != "" {
			key = l.key
		}
		return e.printJSON(document{key: list})
	}
	if len(list) == 0 {
		e.say("%s", l.empty)
		return nil
	}
	rows := make([][]string, len(list))
	for i, v := range list {
		rows[i] = l.row(v)
	}
	return e.table(l.head, rows)
}
