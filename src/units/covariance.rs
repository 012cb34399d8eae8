//! Pearson's correlation of two numbers, seen once and one pair after another.

/// Means and centred sums of squares and products, by Welford's updates: nothing
/// cancels where the mean is large beside the spread.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Covariance {
    count: f64,
    mean_x: f64,
    mean_y: f64,
    squares_x: f64,
    squares_y: f64,
    products: f64,
}

impl Covariance {
    pub fn add(&mut self, x: f64, y: f64) {
        self.count += 1.0;
        let (from_x, from_y) = (x - self.mean_x, y - self.mean_y);
        self.mean_x += from_x / self.count;
        self.mean_y += from_y / self.count;
        self.squares_x += from_x * (x - self.mean_x);
        self.squares_y += from_y * (y - self.mean_y);
        self.products += from_x * (y - self.mean_y);
    }

    /// None where one of the two never changes.
    pub fn correlation(&self) -> Option<f64> {
        let spread = self.squares_x.sqrt() * self.squares_y.sqrt();
        (spread > 0.0).then(|| (self.products / spread).clamp(-1.0, 1.0))
    }
}
