package policytest

import (
	"fmt"
	"slices"
	"strings"

	"github.com/vine-mesh/vine/policy"
	"github.com/vine-mesh/vine/tables"
)

// A Relation says how what is asked for relates to the scope of the asking user.
type Relation string

// The relations. With a grant for the federation everything is one's own.
const (
	Own       Relation = "own"        // his site, and the VN that he is for with hosts there
	OtherVN   Relation = "other VN"   // his site, and a VN that he is not for
	OtherSite Relation = "other site" // a site that he is not for, and the VN that he is for with hosts there
)

// A Cell is one question to the matrix: may a user with a grant like this do that?
type Cell struct {
	Right     policy.Right
	Role      tables.Role
	Scope     string // "federation", "site" or "vn"
	Relation  Relation
	Delegated bool
}

// String names the cell, fit for a test.
func (c Cell) String() string {
	by := ""
	if c.Delegated {
		by = " delegated"
	}
	return fmt.Sprintf("%s/%s of a %s%s/%s", c.Right.Op, c.Role, c.Scope, by, c.Relation)
}

// Grantees are the kinds of user: every role with every scope that gives it a right.
var Grantees = []struct {
	Role  tables.Role
	Scope string
}{
	{tables.RoleADM, "federation"}, {tables.RoleADM, "site"}, {tables.RoleADM, "vn"},
	{tables.RoleSA, "federation"}, {tables.RoleSA, "site"}, {tables.RoleSA, "vn"},
	{tables.RoleVNA, "federation"}, {tables.RoleVNA, "site"}, {tables.RoleVNA, "vn"},
	{tables.RoleEU, "site"}, {tables.RoleEU, "vn"},
}

// Cells returns the whole matrix.
func Cells() []Cell {
	var list []Cell
	for _, right := range policy.Rights() {
		for _, g := range Grantees {
			for _, delegated := range []bool{false, true} {
				for _, relation := range []Relation{Own, OtherVN, OtherSite} {
					list = append(list, Cell{right, g.Role, g.Scope, relation, delegated})
				}
			}
		}
	}
	return list
}

// Want says what the answer must be, from the declaration of the right alone.
func (c Cell) Want() bool {
	if !slices.Contains(c.Right.Roles, c.Role) || c.Delegated && !c.Right.Delegated {
		return false
	}
	switch c.Scope + " " + string(c.Right.About) {
	case "federation site", "federation vn", "federation users":
		return true
	case "site site", "site vn":
		return c.Relation != OtherSite
	case "vn vn":
		return c.Relation != OtherVN
	case "site users", "vn users":
		return c.Relation == Own
	default: // a grant for a VN says nothing about sites
		return false
	}
}

// Table returns the matrix as docs/rights.md shows it, without the rows for delegations.
func Table() string {
	var b strings.Builder
	b.WriteString("| operation | about |")
	for _, g := range Grantees {
		fmt.Fprintf(&b, " %s %s |", g.Role, g.Scope)
	}
	b.WriteString(" delegated |\n|---|---|" + strings.Repeat("---|", len(Grantees)+1) + "\n")
	for _, right := range policy.Rights() {
		fmt.Fprintf(&b, "| `%s` | %s |", right.Op, right.About)
		for _, g := range Grantees {
			var marks []string
			for _, relation := range []Relation{Own, OtherVN, OtherSite} {
				mark := "-"
				if (Cell{right, g.Role, g.Scope, relation, false}).Want() {
					mark = "x"
				}
				marks = append(marks, mark)
			}
			fmt.Fprintf(&b, " %s |", strings.Join(marks, " "))
		}
		delegated := "-"
		if right.Delegated {
			delegated = "x"
		}
		fmt.Fprintf(&b, " %s |\n", delegated)
	}
	return b.String()
}
