//! A hundred tests that do nothing: what a suite costs beyond its bodies.

macro_rules! hundred {
    ($($ten:ident)*) => { $(mod $ten { ten!(zero one two three four five six seven eight nine); })* };
}

macro_rules! ten {
    ($($name:ident)*) => { $(
        #[belljar::test(mode = "tcg", topology = "1n1l4c1t", memory_mib = 512)]
        fn $name() {}
    )* };
}

hundred!(zero ten twenty thirty forty fifty sixty seventy eighty ninety);
