//! Multiplication of matrices, the work that schbench does for a request.

use std::arch::asm;

/// Two square matrices and their product.
pub(super) struct Matrices {
    size: usize,
    numbers: Vec<u64>,
}

impl Matrices {
    /// Matrices that fill about as many bytes, the three of them.
    pub(super) fn new(bytes: u64) -> Self {
        let size = ((bytes / 24).isqrt() as usize).max(1);
        Self { size, numbers: (0..3 * (size * size) as u64).collect() }
    }

    /// Multiplies once. After each row it asks whether to go on, and tells whether it came to the end.
    pub(super) fn multiply(&mut self, mut goes_on: impl FnMut() -> bool) -> bool {
        let size = self.size;
        let (factors, product) = self.numbers.split_at_mut(2 * size * size);
        let (left, right) = factors.split_at(size * size);
        for (row, results) in left.chunks(size).zip(product.chunks_mut(size)) {
            for (column, result) in results.iter_mut().enumerate() {
                *result = dot(row, &right[column..], size);
            }
            if !goes_on() {
                return false;
            }
        }
        true
    }
}

/// The product of a row with a column, whose numbers lie `stride` apart; the same instructions however
/// the crate is compiled.
fn dot(row: &[u64], column: &[u64], stride: usize) -> u64 {
    assert!(!row.is_empty() && column.len() > (row.len() - 1) * stride);
    let mut sum = 0u64;
    // SAFETY: the loop reads `row` from its start to its end, and as many numbers of `column`, of
    // which the assertion says that they lie within it.
    unsafe {
        asm!(
            "2:",
            "mov {product}, [{row}]",
            "imul {product}, [{column}]",
            "add {sum}, {product}",
            "add {row}, 8",
            "add {column}, {stride}",
            "dec {n}",
            "jnz 2b",
            row = inout(reg) row.as_ptr() => _,
            column = inout(reg) column.as_ptr() => _,
            stride = in(reg) stride * 8,
            n = inout(reg) row.len() => _,
            sum = inout(reg) sum,
            product = out(reg) _,
            options(nostack, readonly)
        );
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_are_right() {
        let mut matrices = Matrices::new(24 * 9);
        assert_eq!(matrices.size, 3);
        assert!(matrices.multiply(|| true));
        // 0..9 times 9..18.
        let product = [42, 45, 48, 150, 162, 174, 258, 279, 300];
        assert_eq!(matrices.numbers[18..], product);
        assert!(!matrices.multiply(|| false));
    }
}
