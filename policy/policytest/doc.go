// Package policytest runs every cell of the matrix of rights: role by operation by {own, other VN,
// other site}, and by whether the right is delegated. What is run comes from policy.Rights; an
// operation that is declared there and has no attempt here fails the test.
//
// A Scene is where it is run: the decider alone (package policy) or whole VRs (package nodetest).
// Only tests import this package.
package policytest
