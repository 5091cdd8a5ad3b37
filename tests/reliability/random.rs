//! Which points are tried.

/// Whether every point is tried.
pub fn is_full() -> bool {
    std::env::var_os("ACCESS_TEST_FULL").is_some()
}

/// Numbers that look random, the same for each seed.
pub struct Random(u64);

impl Random {
    /// `name`: so that each test has others.
    pub fn of(name: &str) -> Random {
        let seed: u64 = std::env::var("ACCESS_TEST_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(17);
        let mixed = name
            .bytes()
            .fold(seed ^ 0x2545_f491_4f6c_dd1d, |mixed, byte| (mixed ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        Random(mixed | 1)
    }

    pub fn below(&mut self, most: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from((self.0 >> 16) % most as u64).unwrap()
    }
}
