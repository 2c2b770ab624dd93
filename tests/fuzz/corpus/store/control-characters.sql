UPDATE policies SET label = 'a[31mb', assignment = 'fc1 fp8
'