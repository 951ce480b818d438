"""Networks: the space of students, their size, published students, teachers and their weights."""
