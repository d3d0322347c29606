//! Mistakes, and where the compiler points for each.

#[test]
fn every_mistake_is_told_at_its_field() {
    trybuild::TestCases::new().compile_fail("tests/ui/*.rs");
}
