Set Silent.
Require Import Reals ZArith Lra Lia Psatz Classical.
Unset Lia Cache.
Unset Nia Cache.
Unset Nra Cache.

(* lra checks its certificate when it finds it, and the kernel checks it again behind `abstract`: the kernel's check is
   enough. lia first rewrites what may stand in other number types. Where a version of Coq knows no such names, the
   second sentence fails and the first stays. *)
Ltac rk_lra := lra.
Ltac rk_lra ::= unfold Rdiv in *; xlra_R rchecker_abstract.
Ltac rk_lia := lia.
Ltac rk_lia ::= xlia zchecker.

(* Redefined where csdp and coq-hammer are installed. *)
Ltac rk_sums := fail.
Ltac rk_search := fail.

(* A root becomes a variable of its own with what is known of it. *)
Ltac rk_root a :=
  let p := fresh in let q := fresh in
  assert (p := sqrt_pos a); assert (q := sqrt_sqrt a);
  let s := fresh in set (s := sqrt a) in *; clearbody s.
Ltac rk_roots := repeat match goal with
  | |- context [sqrt ?a] => rk_root a
  | h : context [sqrt ?a] |- _ => rk_root a end.

(* Likewise a quotient whose denominator is known to differ from 0. *)
Ltac rk_quotient a d :=
  let p := fresh in let q := fresh in
  assert (p : (d <> 0)%R) by (first [assumption | lra]);
  assert (q : (a / d * d = a)%R) by (field; exact p);
  let s := fresh in set (s := (a / d)%R) in *; clearbody s.
Ltac rk_quotients := repeat match goal with
  | |- context [Rdiv ?a ?d] => rk_quotient a d
  | h : context [Rdiv ?a ?d] |- _ => rk_quotient a d end.

Ltac rk_open := intros; repeat match goal with h : _ /\ _ |- _ => destruct h end.
Ltac rk_linear := intros; rk_lra.
Ltac rk_real := rk_open; first [ field; lra | subst; lra | subst; field; repeat split; lra ].
Ltac rk_hard := rk_open; repeat split_Rabs; rk_roots;
  first [ subst; lra | solve [ intuition (subst; lra) ] | rk_quotients; first [ subst; lra | nra | subst; nra | intro; subst; nra | rk_sums ] ].
Ltac rk_whole := intros; rk_lia.
Ltac rk_int := intros; lia.
Ltac rk_int_hard := intros; first [ nia | subst; nia ].

Ltac rk_decide := repeat match goal with
  | p : ?o -> Prop |- _ => lazymatch goal with
    | h : forall x : o, p x \/ ~ p x |- _ => fail
    | _ => assert (forall x : o, p x \/ ~ p x) by (intro; apply classic) end end.
Ltac rk_logic := intros; first [ assumption | tauto | solve [ firstorder ] ].
Ltac rk_classical := intros; first
  [ solve [ rk_search ]
  | solve [ apply NNPP; rk_decide; firstorder ]
  | solve [ apply NNPP; intro; rk_decide; rk_search ] ].
