"""Networks: the student space, how large a student is, published students, teachers, their weights."""
